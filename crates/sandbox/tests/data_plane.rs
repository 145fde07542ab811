//! The data channel, the SSM agent, the RDS front, PostgreSQL and MariaDB, each from outside.

mod data_plane {
    mod agent;
    mod channel;
    mod databases;
    mod limits;
    mod mysql;
    mod raw_client;
    mod transcripts;
}
