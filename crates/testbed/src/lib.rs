//! Private servers for tests: each on free loopback ports, in a temporary
//! folder of its own, ended when dropped.
