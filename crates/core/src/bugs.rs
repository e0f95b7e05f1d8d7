//! Known bugs that a test may ask for, to prove that the storms would see them. Without the feature
//! `seeded-bugs` every question is answered by a constant `false`.
#![cfg_attr(not(feature = "seeded-bugs"), allow(unreachable_pub))]

/// One bug. Each has a one-line hook at the place where somebody could write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The task that its worker died of never comes back.
    LoseTheBlamed,
    /// The tasks that waited in the hand of the dead never come back.
    LoseTheUnblamed,
    /// A result does not end its lease.
    KeepTheLease,
    /// Everything in the hand of the dead is blamed.
    BlameEveryone,
    /// One attempt too few before quarantine.
    QuarantineEarly,
    /// One attempt too many before quarantine.
    QuarantineLate,
    /// A result counts whatever its attempt.
    AcceptAnyAttempt,
    /// A result counts whoever of the slot's workers sent it.
    AcceptTheDead,
    /// Leases that could not be sent are taken for sent.
    ForgetUnsent,
    /// A refused worker with an empty hand is waited for, though it has no reason to speak.
    WaitForTheSilent,
    /// A deadline runs from the lease, and nobody looks.
    KillWithoutLook,
    /// Nobody looks at the deadline.
    NeverLook,
    /// Tasks are still lent after a drain.
    LendAfterDrain,
    /// Whoever has lost its place at birth is not replaced.
    NoRespawnAfterUnborn,
    /// A birth may take for ever.
    NoBirthTimeout,
    /// STOP is sent as soon as the backlog is empty, though leases may still come back.
    StopEarly,
    /// A quarantined task is requeued as well.
    RequeueTheQuarantined,
    /// Whoever is to be told to end is only asked to.
    TerminateLate,
    /// Nobody follows a STOP up.
    NoGrace,
    /// A dead worker is not replaced while others live.
    NoRespawnAfterDeath,
    /// A returned task starts again at its first attempt.
    ForgetTheAttempt,
    /// What a worker says after it was shot does not count, and neither does its lease.
    IgnoreTheDying,
    /// An end without a lease is dropped, and its worker goes on.
    BearTheLiar,
    /// What follows an end without a lease in the same frame still counts.
    HearTheLiarOut,
    /// A failed task is tried again as the same attempt.
    RetryTheSame,
    /// A task may fail once more than the policy says.
    RetryTooOften,
    /// Failures count towards quarantine.
    QuarantineTheFailed,
    /// What is recalled counts even if there is no such task.
    CountTheStrange,
    /// A recalled task starts again at its first attempt.
    ForgetTheRecalled,
    /// Whoever survives SIGABRT is waited for.
    AbortForEver,
    /// SIGABRT is sent to a stopped worker, which cannot hear it.
    AbortTheStopped,
    /// A task that ran while the loop slept is not excused.
    OversleepTheTask,
    /// A birth deadline does not shift when the loop slept.
    OversleepTheBirth,
    /// A shorter median does not shorten the deadlines that run.
    IgnoreTheMedian,
    /// A worker is lent more tasks than it may ever have.
    LendPastTheLimit,
    /// Who is to be recycled is not given the time to finish what it has.
    HurryTheRecycled,
    /// Nobody is recycled for its age.
    NeverTooOld,
    /// Whoever outgrows its memory goes on.
    BearTheBloated,
    /// A run halts one task later than the policy says.
    HaltLate,
    /// What was settled before counts towards the halt.
    HaltTheRecalled,
    /// A run that gives up ends its workers in the order of their birth.
    OldestFirst,
    /// Who dies idle right after its hello is replaced at once, for ever.
    ForkHot,
    /// A task of many items goes into quarantine with all of them.
    NeverSplit,
    /// A task that was split is requeued as well.
    RequeueTheSplit,
    /// A part of what was split has as many attempts as any task, however many items it is of.
    SplitLate,
    /// A task that may have made its worker speak nonsense is lent beside others.
    LendBesideTheSuspect,
    /// Who holds tasks and runs none may do so for ever, where no deadline runs.
    TrustTheIdle,
    /// Who is stopped is taken for stuck.
    ShootTheStopped,
    /// A worker that was taken away is replaced.
    RefillTheTakenAway,
    /// A worker is taken away in the middle of its task.
    KillTheTakenAway,
    /// What waits for a slot that is taken away goes on waiting for it.
    LeaveTheLane,
    /// Whoever does not die of SIGKILL is waited for.
    WaitForTheUnkillable,
    /// Another worker takes the place of one that may still be there.
    RefillTheLost,
    /// The task that an unkillable worker was in the middle of is blamed.
    BlameTheLost,
    /// What came back to the backlog cannot be cancelled any more.
    CancelOnlyTheFresh,
    /// What a worker says of a cancelled task counts.
    BelieveTheCancelled,
    /// A worker that runs a cancelled task goes on with it.
    SpareTheCancelled,
    /// Who has nothing left waits, though others have more than they can do.
    NeverSteal,
    /// Whoever leaves because it was recalled is held to have failed.
    CountTheRecalled,
    /// What waits behind a long task waits, though others have nothing to do.
    NeverTakeBack,
    /// What a worker is in the middle of is taken back with what waits behind it.
    TakeBackTheBegun,
    /// A page that was read before its worker was recalled is believed to name the last that it begins.
    TakeBackUnseen,
    /// Of several tasks that ran in the dead, each is blamed.
    BlameAllLanes,
    /// What ran side by side in the dead is lent side by side again.
    IsolateNothing,
    /// Of several tasks that run only the latest is held to its deadline.
    JudgeOneLane,
    /// Of several tasks that are late only the first is blamed.
    BlameOneOfTheLate,
    /// Whoever runs by itself is blamed for the memory that others may have left.
    BlameTheLastForMemory,
    /// What is lent behind a task is taken back though another thread may have begun it.
    TakeBackBesideTheIdle,
}

impl Bug {
    /// Every one of them.
    #[cfg(feature = "seeded-bugs")]
    pub const ALL: &[Bug] = &[
        Bug::LoseTheBlamed,
        Bug::LoseTheUnblamed,
        Bug::KeepTheLease,
        Bug::BlameEveryone,
        Bug::QuarantineEarly,
        Bug::QuarantineLate,
        Bug::AcceptAnyAttempt,
        Bug::AcceptTheDead,
        Bug::ForgetUnsent,
        Bug::WaitForTheSilent,
        Bug::KillWithoutLook,
        Bug::NeverLook,
        Bug::LendAfterDrain,
        Bug::NoRespawnAfterUnborn,
        Bug::NoBirthTimeout,
        Bug::StopEarly,
        Bug::RequeueTheQuarantined,
        Bug::TerminateLate,
        Bug::NoGrace,
        Bug::NoRespawnAfterDeath,
        Bug::ForgetTheAttempt,
        Bug::IgnoreTheDying,
        Bug::BearTheLiar,
        Bug::HearTheLiarOut,
        Bug::RetryTheSame,
        Bug::RetryTooOften,
        Bug::QuarantineTheFailed,
        Bug::CountTheStrange,
        Bug::ForgetTheRecalled,
        Bug::AbortForEver,
        Bug::AbortTheStopped,
        Bug::OversleepTheTask,
        Bug::OversleepTheBirth,
        Bug::IgnoreTheMedian,
        Bug::LendPastTheLimit,
        Bug::HurryTheRecycled,
        Bug::NeverTooOld,
        Bug::BearTheBloated,
        Bug::HaltLate,
        Bug::HaltTheRecalled,
        Bug::OldestFirst,
        Bug::ForkHot,
        Bug::NeverSplit,
        Bug::RequeueTheSplit,
        Bug::SplitLate,
        Bug::LendBesideTheSuspect,
        Bug::TrustTheIdle,
        Bug::ShootTheStopped,
        Bug::RefillTheTakenAway,
        Bug::KillTheTakenAway,
        Bug::LeaveTheLane,
        Bug::WaitForTheUnkillable,
        Bug::RefillTheLost,
        Bug::BlameTheLost,
        Bug::CancelOnlyTheFresh,
        Bug::BelieveTheCancelled,
        Bug::SpareTheCancelled,
        Bug::NeverSteal,
        Bug::CountTheRecalled,
        Bug::NeverTakeBack,
        Bug::TakeBackTheBegun,
        Bug::TakeBackUnseen,
        Bug::BlameAllLanes,
        Bug::IsolateNothing,
        Bug::JudgeOneLane,
        Bug::BlameOneOfTheLate,
        Bug::BlameTheLastForMemory,
        Bug::TakeBackBesideTheIdle,
    ];
}

/// Which bug this core has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bugs {
    #[cfg(feature = "seeded-bugs")]
    pub(crate) seeded: Option<Bug>,
}

impl Bugs {
    #[cfg(feature = "seeded-bugs")]
    pub(crate) fn has(self, bug: Bug) -> bool {
        self.seeded == Some(bug)
    }

    #[cfg(not(feature = "seeded-bugs"))]
    pub(crate) const fn has(self, _bug: Bug) -> bool {
        false
    }
}
