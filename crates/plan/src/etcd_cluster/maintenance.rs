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
    /// The quota is used up: compact, defragment these in turn, and disarm the alarm unless they are full of data.
    MakeSpace(Vec<Turn>),
    /// The quota is used up by data: only a larger one helps.
    Full,
    /// One member wastes much.
    Defragment(Turn),
}

/// State of the alarm about space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// It is not raised.
    Enough,
    /// It is raised.
    None,
    /// It is raised, and [`is_full`] was found after a defragmentation not long ago.
    Full,
}

/// Whether members that were just defragmented hold so much that the alarm would be raised again by the next writes.
///
/// Before that nobody knows: what a compaction frees counts as in use until the next write, which etcd does not take.
pub fn is_full(members: &[Reported], quota: u64) -> bool {
    members.iter().any(|member| member.size > quota / 10 * 9)
}

/// The chore that is due. `quota` is the backend's in bytes.
///
/// `members` are the voting members that answer. `complete` says that these are all: a member is not stopped for upkeep
/// while another one is away. The last voting member serves nobody while it is defragmented, so that it waits until the
/// waste is half of its quota.
pub fn chore(members: &[Reported], complete: bool, space: Space, quota: u64) -> Chore {
    let mut order: Vec<&Reported> = members.iter().collect();
    // The leader last.
    order.sort_by_key(|member| (member.leader, member.ordinal));
    let turn = |member: &Reported| Turn {
        ordinal: member.ordinal,
        hand_over_to: order.iter().find(|other| member.leader && other.id != member.id).map(|other| other.id),
    };
    match space {
        Space::Enough => {}
        Space::None => return Chore::MakeSpace(order.iter().map(|member| turn(member)).collect()),
        Space::Full => return Chore::Full,
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
        assert_eq!(chore(&members, true, Space::Enough, QUOTA), Chore::None);
    }

    #[test]
    fn defragments_one_at_a_time_and_the_leader_last() {
        let all = [member(0, true, 200, 50), member(1, false, 200, 50), member(2, false, 200, 180)];
        assert_eq!(chore(&all, true, Space::Enough, QUOTA), Chore::Defragment(Turn { ordinal: 1, hand_over_to: None }));
        let rest = [member(0, true, 200, 50), member(1, false, 60, 50), member(2, false, 200, 180)];
        assert_eq!(
            chore(&rest, true, Space::Enough, QUOTA),
            Chore::Defragment(Turn { ordinal: 0, hand_over_to: Some(11) })
        );
    }

    #[test]
    fn stops_no_member_while_another_is_away() {
        let members = [member(0, true, 200, 50), member(1, false, 200, 50)];
        assert_eq!(chore(&members, false, Space::Enough, QUOTA), Chore::None);
    }

    #[test]
    fn a_member_alone_waits_until_half_of_its_quota_is_waste() {
        assert_eq!(chore(&[member(0, true, 1000, 10)], true, Space::Enough, QUOTA), Chore::None);
        let due = chore(&[member(0, true, 1500, 10)], true, Space::Enough, QUOTA);
        assert_eq!(due, Chore::Defragment(Turn { ordinal: 0, hand_over_to: None }));
    }

    #[test]
    fn makes_space_on_every_member_that_answers() {
        let members = [member(2, true, 9, 9), member(0, false, 9, 9)];
        let turns = vec![Turn { ordinal: 0, hand_over_to: None }, Turn { ordinal: 2, hand_over_to: Some(10) }];
        assert_eq!(chore(&members, false, Space::None, QUOTA), Chore::MakeSpace(turns));
    }

    #[test]
    fn stops_no_member_for_space_that_data_takes() {
        let full = [member(0, true, 1900, 1900)];
        assert!(is_full(&full, QUOTA) && !is_full(&[member(0, true, 1800, 1800)], QUOTA));
        assert_eq!(chore(&full, true, Space::Full, QUOTA), Chore::Full);
    }
}
