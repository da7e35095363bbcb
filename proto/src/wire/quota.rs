//! What limits allow, to protobuf and back.

use super::{Result, closed, name_of};
use crate::decide::Quota;
use crate::pb;

pub(super) fn into_pb(quota: Quota) -> pb::Quota {
    let Quota { id, max, window_s, unit } = quota;
    pb::Quota { id, max, window_s, unit: name_of(&unit) }
}

pub(super) fn from_pb(quota: pb::Quota) -> Result<Quota> {
    let pb::Quota { id, max, window_s, unit } = quota;
    Ok(Quota { id, max, window_s, unit: closed("unit", &unit)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::QuotaUnit;

    #[test]
    fn a_quota_comes_back_as_it_went() {
        for unit in [QuotaUnit::Calls, QuotaUnit::Tokens, QuotaUnit::UsdMicros, QuotaUnit::Bytes] {
            let quota = Quota { id: "team.tokens".into(), max: u64::MAX, window_s: 60, unit };
            assert_eq!(from_pb(into_pb(quota.clone())).unwrap(), quota);
        }
        let quota = Quota { id: "a".into(), max: 1, window_s: 0, unit: QuotaUnit::Concurrent };
        assert_eq!(into_pb(quota.clone()).unit, "concurrent");
        let unknown = pb::Quota { unit: "miles".into(), ..into_pb(quota) };
        assert!(from_pb(unknown).is_err());
    }
}
