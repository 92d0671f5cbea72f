//! What is written to disk and read from outside: versioned shapes, separate from the
//! types of `core`, with the conversions beside them.

pub mod announcement_file;
pub mod beat_file;
pub mod breaker_file;
pub mod claude_stream;
pub mod client_settings;
pub mod conditions_file;
pub mod config;
pub mod environment_file;
pub mod history_file;
pub mod hook_json;
pub mod instance_limits;
pub mod instance_request;
pub mod issue_file;
pub mod issue_markdown;
pub mod launch_file;
pub mod machine_file;
pub mod note_file;
pub mod outcome_file;
pub mod permission_request;
pub mod permissions_file;
pub mod plan_file;
pub mod player_script;
pub mod processes_file;
pub mod radar_file;
pub mod results;
pub mod settings_file;
pub mod shortage_file;
pub mod status_file;
pub mod status_report;
pub mod statusline;
pub mod todo_list;

/// Version of all files that this program writes. A reader accepts its own and older
/// versions; a newer one is reported, never guessed at.
pub const SCHEMA_VERSION: u32 = 1;
