//! Deploys of the Metadata API: what their results say.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DeployStatus {
    Canceled,
    Canceling,
    Failed,
    InProgress,
    #[default]
    Pending,
    Succeeded,
    SucceededPartial,
}

/// Where a deploy stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployResult {
    pub id: String,
    pub done: bool,
    pub success: bool,
    pub status: DeployStatus,
    pub components_total: u32,
    pub components_deployed: u32,
    pub components_errors: u32,
    pub tests_total: u32,
    pub tests_completed: u32,
    pub tests_errors: u32,
    pub component_failures: Vec<ComponentFailure>,
    pub test_failures: Vec<TestFailure>,
    pub coverage: Vec<Coverage>,
    pub coverage_warnings: Vec<String>,
    pub error_message: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentFailure {
    pub file: String,
    pub kind: String,
    pub name: String,
    pub line: Option<u32>,
    pub column: Option<u32>,
    pub message: String,
    pub warning: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestFailure {
    pub class: String,
    pub method: String,
    pub message: String,
    pub stack: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    pub class: String,
    pub lines: u32,
    pub uncovered: Vec<u32>,
}
