//! Which member needs its space back. Pure: what the members report goes in, one chore comes out.

/// A member's database is not worth a defragmentation below this size, in bytes.
pub const SMALL: u64 = 64 << 20;

/// What one member reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Ordinal of its pod.
    pub ordinal: i32,
    /// Its identity.
    pub id: u64,
    /// It leads.
    pub leader: bool,
    /// Bytes of its database file.
    pub size: u64,
    /// Bytes of these that hold data.
    pub in_use: u64,
}

/// One member to defragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Ordinal of its pod.
    pub ordinal: i32,
    /// It leads: give the leadership to the member of this identity first, so that writes go on meanwhile.
    pub hand_over_to: Option<u64>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chore {
    /// Nothing.
    None,
    /// The quota is used up: compact, defragment these in turn, disarm the alarm.
    MakeSpace(Vec<Turn>),
    /// One member wastes much.
    Defragment(Turn),
}

/// The chore that is due. `no_space` says whether such an alarm is raised, `quota` is the backend's in bytes.
///
/// `members` are the voting members that answer. `complete` says that these are all: a member is not stopped for upkeep
/// while another one is away. The last voting member serves nobody while it is defragmented, so that it waits until the
/// waste is half of its quota.
pub fn chore(members: &[Reported], complete: bool, no_space: bool, quota: u64) -> Chore {
    let mut order: Vec<&Reported> = members.iter().collect();
    // The leader last.
    order.sort_by_key(|member| (member.leader, member.ordinal));
    let turn = |member: &Reported| Turn {
        ordinal: member.ordinal,
        hand_over_to: order.iter().find(|other| member.leader && other.id != member.id).map(|other| other.id),
    };
    if no_space {
        return Chore::MakeSpace(order.iter().map(|member| turn(member)).collect());
    }
    if !complete {
        return Chore::None;
    }
    let alone = members.len() == 1;
    let wasteful = |member: &&&Reported| {
        let waste = member.size.saturating_sub(member.in_use);
        let least = if alone { quota / 2 } else { member.size / 2 };
        member.size >= SMALL && waste > least
    };
    order.iter().find(wasteful).map_or(Chore::None, |member| Chore::Defragment(turn(member)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: u64 = 2 << 30;
    const MIB: u64 = 1 << 20;

    fn member(ordinal: i32, leader: bool, size: u64, in_use: u64) -> Reported {
        let id = u64::try_from(ordinal).unwrap() + 10;
        Reported { ordinal, id, leader, size: size * MIB, in_use: in_use * MIB }
    }

    #[test]
    fn leaves_alone_what_is_small_or_full() {
        let members = [member(0, true, 60, 1), member(1, false, 200, 150), member(2, false, 200, 101)];
        assert_eq!(chore(&members, true, false, QUOTA), Chore::None);
    }

    #[test]
    fn defragments_one_at_a_time_and_the_leader_last() {
        let all = [member(0, true, 200, 50), member(1, false, 200, 50), member(2, false, 200, 180)];
        assert_eq!(chore(&all, true, false, QUOTA), Chore::Defragment(Turn { ordinal: 1, hand_over_to: None }));
        let rest = [member(0, true, 200, 50), member(1, false, 60, 50), member(2, false, 200, 180)];
        assert_eq!(chore(&rest, true, false, QUOTA), Chore::Defragment(Turn { ordinal: 0, hand_over_to: Some(11) }));
    }

    #[test]
    fn stops_no_member_while_another_is_away() {
        let members = [member(0, true, 200, 50), member(1, false, 200, 50)];
        assert_eq!(chore(&members, false, false, QUOTA), Chore::None);
    }

    #[test]
    fn a_member_alone_waits_until_half_of_its_quota_is_waste() {
        assert_eq!(chore(&[member(0, true, 1000, 10)], true, false, QUOTA), Chore::None);
        let due = chore(&[member(0, true, 1500, 10)], true, false, QUOTA);
        assert_eq!(due, Chore::Defragment(Turn { ordinal: 0, hand_over_to: None }));
    }

    #[test]
    fn makes_space_on_every_member_that_answers() {
        let members = [member(2, true, 9, 9), member(0, false, 9, 9)];
        let turns = vec![Turn { ordinal: 0, hand_over_to: None }, Turn { ordinal: 2, hand_over_to: Some(10) }];
        assert_eq!(chore(&members, false, true, QUOTA), Chore::MakeSpace(turns));
    }
}
