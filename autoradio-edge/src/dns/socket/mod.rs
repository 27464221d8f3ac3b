//! The DNS servers: what carries messages between clients and the responder.

mod tcp;
mod udp;

pub use tcp::TcpServer;
pub use udp::UdpServer;
