//! The origin as its clients see it: a real server on a free port, in front of a real folder.

mod client;
mod connections;
mod documents;
mod fixture;
mod logs;
mod releases;
mod requests;
