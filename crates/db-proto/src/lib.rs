//! PostgreSQL and MySQL start-up and login, both roles; never does IO.
