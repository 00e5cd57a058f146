//! What a step may need: handles on steps, lists and tuples of them, and what if they fail.

use std::fmt;
use std::marker::PhantomData;

use windlass_scheduler::flow::{IfFailed, Need, StepPlan};

/// A step of the flow that is being built, which leaves an `O`.
pub struct StepRef<O> {
    pub(super) flow: u64,
    pub(super) no: u32,
    pub(super) if_failed: IfFailed,
    pub(super) of: PhantomData<fn() -> O>,
}

/// A step that another one needs, and goes on without if it fails: see [`StepRef::go_on`].
#[derive(Clone, Debug)]
pub struct GoOn<O>(StepRef<O>);

/// A step that another one needs, and waits for if it fails: see [`StepRef::hold`].
#[derive(Clone, Debug)]
pub struct Hold<O>(StepRef<O>);

impl<O> StepRef<O> {
    /// If this step fails, is called off or expires, the one that needs it goes on without: its input is an `Option` of it.
    #[must_use]
    pub fn go_on(&self) -> GoOn<O> {
        GoOn(Self { if_failed: IfFailed::GoOn, ..*self })
    }

    /// If this step fails, is called off or expires, the one that needs it waits for somebody: to [requeue](crate::Engine::requeue) it
    /// from the dead letters, to [skip](crate::FlowHandle::skip) it, or to forget its job, which calls off whatever waits for it.
    #[must_use]
    pub fn hold(&self) -> Hold<O> {
        Hold(Self { if_failed: IfFailed::Hold, ..*self })
    }

    fn need(&self) -> Need {
        Need { step: self.no, if_failed: self.if_failed }
    }
}

impl<O> Clone for StepRef<O> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<O> fmt::Debug for StepRef<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StepRef").field(&self.no).finish()
    }
}

mod sealed {
    pub trait Sealed {}
}

/// What a step may need: nothing (`()`), a step (`&a`, [`a.go_on()`](StepRef::go_on), [`a.hold()`](StepRef::hold)), a list of those, or a
/// tuple of up to six of all these. Where nothing is said, a step is called off when one that it needs fails.
pub trait Needs: sealed::Sealed {
    /// What it is as an input.
    type Input;

    #[doc(hidden)]
    fn list(self, add: &mut dyn FnMut(u64, Need));

    #[doc(hidden)]
    fn groups(&self) -> Vec<u32>;
}

/// Needs that are one part of a tuple.
pub trait Part: Needs {}

/// Needs that are one item of a list.
pub trait Item: Part {
    #[doc(hidden)]
    fn one(&self) -> (u64, Need);
}

impl sealed::Sealed for () {}
impl Needs for () {
    type Input = ();

    fn list(self, _add: &mut dyn FnMut(u64, Need)) {}

    fn groups(&self) -> Vec<u32> {
        Vec::new()
    }
}

macro_rules! one {
    ($of:ty, $input:ty, $step:ident => $found:expr) => {
        impl<O> sealed::Sealed for $of {}
        impl<O> Item for $of {
            fn one(&self) -> (u64, Need) {
                let $step = self;
                let step = $found;
                (step.flow, step.need())
            }
        }
        impl<O> Part for $of {}
        impl<O> Needs for $of {
            type Input = $input;

            fn list(self, add: &mut dyn FnMut(u64, Need)) {
                let (flow, need) = self.one();
                add(flow, need);
            }

            fn groups(&self) -> Vec<u32> {
                vec![StepPlan::ALONE]
            }
        }
    };
}

one!(StepRef<O>, O, step => step);
one!(&StepRef<O>, O, step => step);
one!(GoOn<O>, Option<O>, step => &step.0);
one!(Hold<O>, O, step => &step.0);

macro_rules! list {
    ($of:ty $(; $size:ident)?) => {
        impl<T: Item $(, const $size: usize)?> sealed::Sealed for $of {}
        impl<T: Item $(, const $size: usize)?> Part for $of {}
        impl<T: Item $(, const $size: usize)?> Needs for $of {
            type Input = Vec<T::Input>;

            fn list(self, add: &mut dyn FnMut(u64, Need)) {
                for item in self {
                    let (flow, need) = item.one();
                    add(flow, need);
                }
            }

            fn groups(&self) -> Vec<u32> {
                vec![u32::try_from(self.len()).unwrap_or(StepPlan::ALONE - 1)]
            }
        }
    };
}

list!(Vec<T>);
list!(&Vec<T>);
list!(&[T]);
list!([T; N]; N);
list!(&[T; N]; N);

macro_rules! tuple {
    ($($part:ident),+) => {
        impl<$($part: Part),+> sealed::Sealed for ($($part,)+) {}
        impl<$($part: Part),+> Needs for ($($part,)+) {
            type Input = ($($part::Input,)+);

            #[allow(non_snake_case)]
            fn list(self, add: &mut dyn FnMut(u64, Need)) {
                let ($($part,)+) = self;
                $($part.list(add);)+
            }

            #[allow(non_snake_case)]
            fn groups(&self) -> Vec<u32> {
                let ($($part,)+) = self;
                [$($part.groups()),+].concat()
            }
        }
    };
}

tuple!(A, B);
tuple!(A, B, C);
tuple!(A, B, C, D);
tuple!(A, B, C, D, E);
tuple!(A, B, C, D, E, F);
