//! ListPartitionReassignments: nothing is ever on its way to another broker, so nothing is listed, whatever is asked for.

use crate::wire::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

pub fn answer(_request: &ListPartitionReassignmentsRequest<'_>) -> ListPartitionReassignmentsResponse<'static> {
    ListPartitionReassignmentsResponse::default()
}
