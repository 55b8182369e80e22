//! Change sets: drafted, validated in the org, deployed by a person.
