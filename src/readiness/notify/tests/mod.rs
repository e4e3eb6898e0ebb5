mod message;
mod socket;
mod store;
