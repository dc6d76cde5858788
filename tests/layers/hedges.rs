//! Tests hedges: when a slow call is sent a second time, which attempt wins, and what the others leave behind.

mod cancelling;
mod delays;
mod ends;
mod load;
mod places;
mod rules;
mod service;
mod tail;
