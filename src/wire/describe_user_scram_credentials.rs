//! DescribeUserScramCredentials (key 50): which users may log in by a salted password.
//!
//! Flexible from its first version on. Source: KIP-554.

use crate::wire::{ErrorCode, Str};
use alloc::vec::Vec;

schema! {
    /// `users`: null or empty for all.
    struct DescribeUserScramCredentialsRequest<'a>: Request DESCRIBE_USER_SCRAM_CREDENTIALS 0..=0, flexible 0.. {
        users: Option<Vec<UserName<'a>>> [0..],
    }

    /// A user that is asked for.
    struct UserName<'a> {
        name: Str<'a> [0..],
    }

    /// Each user that was asked for, or that has credentials.
    struct DescribeUserScramCredentialsResponse<'a>: Response DESCRIBE_USER_SCRAM_CREDENTIALS 0..=0, flexible 0.. {
        throttle_time_ms: i32 [0..],
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [0..],
        results: Vec<DescribeUserScramCredentialsResult<'a>> [0..],
    }

    /// One user.
    struct DescribeUserScramCredentialsResult<'a> {
        user: Str<'a> [0..],
        error_code: ErrorCode [0..],
        error_message: Option<Str<'a>> [0..],
        credential_infos: Vec<CredentialInfo> [0..],
    }

    /// A mechanism (1: SHA-256, 2: SHA-512) and its iterations.
    struct CredentialInfo {
        mechanism: i8 [0..],
        iterations: i32 [0..],
    }
}
