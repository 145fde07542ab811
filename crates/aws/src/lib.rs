//! The questions Daypass asks AWS, one file a service, endpoints injected.
