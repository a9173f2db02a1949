//! What administrators ask: describe, list and delete groups.

use super::group::Phase;
use super::offsets::tombstone;
use super::record::Record;
use super::request::{Call, Decision, Described, DescribedMember, Listed, Reply};
use super::state::Coordinator;
use crate::wire::ErrorCode;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// The type of every group here, as ListGroups names it.
pub const CLASSIC: &str = "classic";

impl Coordinator {
    pub(super) fn describe(&self, call: Call, name: &str, out: &mut Decision) {
        let described = match self.groups.get(name) {
            None => Described {
                error: ErrorCode::GROUP_ID_NOT_FOUND,
                message: Some(format!("Group {name} not found.")),
                state: "Dead",
                protocol_type: String::new(),
                protocol: String::new(),
                members: Vec::new(),
            },
            Some(group) => {
                let stable = group.phase == Phase::Stable;
                let protocol = group.protocol.clone().filter(|_| stable).unwrap_or_default();
                let members = group.members.iter().map(|(id, member)| DescribedMember {
                    id: id.clone(),
                    instance: member.instance.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    metadata: if stable { member.metadata(&protocol) } else { Bytes::new() },
                    assignment: if stable { member.assignment.clone() } else { Bytes::new() },
                });
                Described {
                    error: ErrorCode::NONE,
                    message: None,
                    state: group.phase.name(),
                    protocol_type: group.protocol_type.clone().unwrap_or_default(),
                    members: members.collect(),
                    protocol,
                }
            }
        };
        out.replies.push((call, Reply::Described(described)));
    }

    pub(super) fn list(&self, call: Call, states: &[String], types: &[String], out: &mut Decision) {
        let passes = |filter: &[String], is: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(is))
        };
        let groups =
            self.groups.iter().filter(|(_, group)| passes(states, group.phase.name()) && passes(types, CLASSIC));
        let listed = groups.map(|(name, group)| Listed {
            group: name.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.phase.name(),
        });
        out.replies.push((call, Reply::Listed(listed.collect())));
    }

    pub(super) fn delete_group(&mut self, call: Call, name: &str, out: &mut Decision) {
        let error = match self.groups.get_key_value(name) {
            None => ErrorCode::GROUP_ID_NOT_FOUND,
            Some((_, group)) if group.phase != Phase::Empty => ErrorCode::NON_EMPTY_GROUP,
            Some((name, group)) => {
                for (topic, offsets) in &group.offsets {
                    out.records.extend(offsets.keys().map(|index| tombstone(name, topic, *index)));
                }
                out.records.push(Record::Group { group: name.clone(), value: None });
                ErrorCode::NONE
            }
        };
        out.replies.push((call, Reply::Error(error)));
    }
}
