//! controld as agents see it: over real TLS on loopback, by an agent that is all simulated.

mod agent;
mod cloud;
mod enrolment;
mod life;
mod restart;
mod room;
