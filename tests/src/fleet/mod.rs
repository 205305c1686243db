//! A fleet that is simulated: what thousands of exporters would answer, made of what one real exporter answers.

mod host;
mod server;
mod template;

pub use host::{Fleet, Host};
pub use server::serve;
pub use template::Template;
