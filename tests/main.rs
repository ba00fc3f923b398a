//! Tests of the whole: the command as it is typed, on real files, databases and sockets.

mod browser;
mod dev;
mod edits;
mod faults;
mod golden;
mod history;
mod house;
mod kill;
mod limits;
mod mistakes;
mod rows;
mod serve;
mod shop;
mod storage;
mod support;
