//! DNS messages, and what an answer teaches: by the product's reader, and by another that somebody else
//! wrote.
//!
//! [`compare::answer`] and [`compare::name`] hold the two against each other on any bytes. The tests of
//! the host tier, those of the kernel programs and the fuzz targets all come through here, so that
//! there is one idea of what is right.

pub mod capture;
pub mod compare;
pub mod mutation;
pub mod oracle;
pub mod reference;
pub mod subject;
