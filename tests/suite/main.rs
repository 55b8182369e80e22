//! All integration tests in one binary, so that one executable is linked. Each module names what it proves.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where its premise fails"
)]

mod access;
mod admin;
mod analyze;
mod api;
mod audit;
mod audit_chain;
mod audit_rules;
mod backup;
mod backup_damage;
mod backup_plan;
mod bit_flips;
mod boundaries;
mod browser;
mod browser_access;
mod browser_chat;
mod browser_main_job;
mod browser_members;
mod browser_notifications;
mod browser_passkeys;
mod browser_privacy;
mod browser_sso;
mod browser_usage;
mod bundle;
mod bundle_import;
mod bundle_rows;
mod chat_api;
mod chat_pages;
mod console;
mod deletion;
mod deletion_bytes;
mod deletion_steps;
mod deployments;
mod deployments_pages;
mod deployments_release;
mod deployments_robust;
mod extract;
mod harness;
mod headers;
mod hostile_bodies;
mod hostile_input;
mod insights;
mod isolation;
mod jobs;
mod kill;
mod knowledge;
mod lifecycle;
mod mail;
mod mail_of_workspace;
mod members;
mod members_api;
mod notifications;
mod notifications_raised;
mod old_data;
mod orgs;
mod outbox;
mod passkeys;
mod policies;
mod power_loss;
mod quiet_logs;
mod reminders;
mod reset;
mod restriction;
mod security;
mod sessions;
mod setup;
mod sim_clients;
mod sim_deploy;
mod sim_model;
mod sim_salesforce;
mod soft_key;
mod sso;
mod sso_tokens;
mod status;
mod tables;
mod tls;
mod traffic;
mod unreadable_disk;
mod usage;
mod webdriver;
mod wire_model;
