//! Lets programs on a node, whose network has no way out, reach a real API server.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

/// Passes on whatever connects to a socket.
pub struct Forward;

impl Forward {
    /// Passes on what connects to `listener`, which may be on a node, to `host` as this thread reaches it. It goes on
    /// until the process ends: connections of a daemon that a test leaves behind are none of its business.
    pub fn start(listener: TcpListener, host: &str, port: u16) {
        let host = host.to_owned();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect((host.as_str(), port)) else {
                    continue;
                };
                if let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) {
                    thread::spawn(move || pass(near, far));
                    thread::spawn(move || pass(far_too, near_too));
                }
            }
        });
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
