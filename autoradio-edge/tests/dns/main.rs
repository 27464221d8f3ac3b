//! The DNS servers over loopback: what they answer, and that nothing that is sent to them stops or grows them.

mod flood;
mod rig;
mod tcp;
mod udp;
