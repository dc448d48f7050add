//! Dormouse: adapters, API, wiring and the command line.

pub mod api;
pub mod app;
pub mod backoff;
pub mod backup;
pub mod bridge;
pub mod brokers;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod datadir;
pub mod device_csv;
pub mod hot;
pub mod journal;
pub mod mqtt;
pub mod observe;
pub mod password;
pub mod progress;
pub mod replace_file;
pub mod single_flight;
pub mod store;
pub mod tasks;
pub mod tls;
pub mod upkeep;
