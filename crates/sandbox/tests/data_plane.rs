//! The data channel, the SSM agent, the RDS front and PostgreSQL, each from outside.

mod data_plane {
    mod agent;
    mod channel;
    mod databases;
    mod limits;
    mod raw_client;
    mod transcripts;
}
