//! Configuration in files: any text is answered with a configuration or with a reason, and what is accepted comes back as
//! the same from its own text.

use windlass::{ConfigError, Engine, EngineConfig, MemoryJournal};

/// The first byte chooses the language; a text in the other one is tried as well, for nobody knows what people paste.
pub(crate) fn files(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for read in [EngineConfig::from_toml, EngineConfig::from_json] {
        match read(text) {
            Ok(config) => comes_back(&config),
            Err(error) => says_something(&error),
        }
    }
}

fn comes_back(config: &EngineConfig) {
    let (toml, json) = (config.to_toml(), config.to_json());
    assert_eq!(EngineConfig::from_toml(&toml).as_ref().ok(), Some(config), "from its own TOML:\n{toml}");
    assert_eq!(EngineConfig::from_json(&json).as_ref().ok(), Some(config), "from its own JSON:\n{json}");
    let builder = || Engine::builder().journal(MemoryJournal::new());
    match builder().config(config.clone()).effective_config() {
        Ok(effective) => {
            let again = EngineConfig::from_toml(&effective.to_toml());
            assert_eq!(again.as_ref().ok(), Some(&effective), "what an engine goes by");
            let again = builder().config(effective.clone()).effective_config();
            assert_eq!(again.as_ref().ok(), Some(&effective), "it goes by more than it says");
        }
        Err(error) => says_something(&error),
    }
}

fn says_something(error: &ConfigError) {
    let words = error.to_string();
    assert!(!words.is_empty() && words.len() < 16_384, "{} bytes of {words}", words.len());
}
