//! Tests of the whole: one program, a module for each area.

mod damage;
mod format;
mod fuzz;
mod house;
mod shop;
