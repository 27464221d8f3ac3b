//! The DNS servers: what carries messages between clients and the responder.

mod batch;
mod family;
mod stream;
mod tcp;
mod udp;

pub use tcp::TcpServer;
pub use udp::UdpServer;
