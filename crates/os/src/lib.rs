//! Touches: spawn, pidfd, /proc, descriptor passing, sockets. The only room with unsafe code.
