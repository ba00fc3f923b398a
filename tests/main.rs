//! Tests of the whole: the command as it is typed, on real files, databases and sockets.

mod browser;
mod damage;
mod databases;
mod ddl;
mod dev;
mod edits;
mod faults;
mod format;
mod fuzz;
mod golden;
mod history;
mod house;
mod kill;
mod limits;
mod live;
mod mistakes;
mod oracle;
mod rows;
mod schemas;
mod serve;
mod shop;
mod small;
mod storage;
mod support;
mod watch;
