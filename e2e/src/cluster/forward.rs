//! Forwards connections of programs on a node, whose network has no route to the outside, to a real
//! API server.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

/// Forwards connections to `listener`, which may be on a node, to `host` as this thread reaches it.
/// Runs until the process exits, because a daemon may run longer than its test.
pub fn start(listener: TcpListener, host: &str, port: u16) {
    let host = host.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect((host.as_str(), port)) else {
                continue;
            };
            if let (Ok(to_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) {
                thread::spawn(move || copy(client, to_server));
                thread::spawn(move || copy(server, to_client));
            }
        }
    });
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
