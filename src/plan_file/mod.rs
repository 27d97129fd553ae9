//! plan_file.
