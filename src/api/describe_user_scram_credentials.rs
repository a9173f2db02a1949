//! DescribeUserScramCredentials: nobody has any, since there is no authentication to use them.
//!
//! `kafka-configs` asks it of users whose quotas it describes. Setting credentials is not served, so that this answer is
//! the truth. Messages are Kafka's.

use crate::wire::ErrorCode;
use crate::wire::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse, DescribeUserScramCredentialsResult,
};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;

pub fn answer(request: &DescribeUserScramCredentialsRequest<'_>) -> DescribeUserScramCredentialsResponse<'static> {
    let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
    request.users.iter().flatten().for_each(|user| *asked.entry(&*user.name).or_default() += 1);
    let result = |(user, times): (&str, usize)| {
        let (error_code, text) = if times > 1 {
            let text = format!("Cannot describe SCRAM credentials for the same user twice in a single request: {user}");
            (ErrorCode::DUPLICATE_RESOURCE, text)
        } else {
            let text = format!("Attempt to describe a user credential that does not exist: {user}");
            (ErrorCode::RESOURCE_NOT_FOUND, text)
        };
        DescribeUserScramCredentialsResult {
            user: Cow::Owned(user.into()),
            error_code,
            error_message: Some(Cow::Owned(text)),
            ..Default::default()
        }
    };
    let results = asked.into_iter().map(result).collect();
    // As in Kafka: empty, not null.
    DescribeUserScramCredentialsResponse { results, error_message: Some(Cow::Borrowed("")), ..Default::default() }
}
