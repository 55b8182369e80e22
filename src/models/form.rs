//! The fields of a model endpoint as a form sends and shows them: one set for setup and for the settings.

use serde::Deserialize;
use url::Url;

use super::{Entered, Kept, Models, ModelsError};
use crate::identity::SignedIn;
use crate::seal::Secret;
use crate::web::Problem;
use crate::web::problem::FieldError;
use crate::wire::model::{Auth, Profile};

/// What the form sends. The key comes back to no page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelForm {
    base_url: String,
    model: String,
    #[serde(default)]
    key: String,
    auth: Auth,
    profile: Profile,
    /// `save` saves at once; everything else tests first.
    #[serde(default)]
    act: String,
}

/// What the fields show.
#[derive(Clone, Debug, Default)]
pub struct ModelFields {
    pub base_url: String,
    pub model: String,
    pub auth: &'static str,
    pub profile: &'static str,
    /// A key is kept already.
    pub has_key: bool,
    /// What the test found.
    pub worked: Option<String>,
    /// Models that the endpoint offers, to choose from.
    pub offered: Vec<String>,
    pub errors: Vec<FieldError>,
}

impl ModelFields {
    /// The saved endpoint, or empty fields.
    pub fn of(kept: Option<Kept>) -> Self {
        let Some(kept) = kept else {
            return Self { auth: "x_api_key", profile: "anthropic", ..Self::default() };
        };
        Self {
            base_url: kept.base_url.to_string(),
            model: kept.model,
            auth: auth_name(kept.auth),
            profile: profile_name(kept.profile),
            has_key: kept.key.is_some(),
            ..Self::default()
        }
    }
}

fn auth_name(auth: Auth) -> &'static str {
    match auth {
        Auth::Bearer => "bearer",
        Auth::None => "none",
        Auth::XApiKey => "x_api_key",
    }
}

fn profile_name(profile: Profile) -> &'static str {
    match profile {
        Profile::Anthropic => "anthropic",
        Profile::Minimal => "minimal",
    }
}

impl ModelForm {
    /// Tests what was entered and saves it when it works; `act=save` saves it without a test. What comes back
    /// is for the form: saved when it holds no errors.
    pub async fn apply(self, models: &Models, me: &SignedIn) -> Result<ModelFields, Problem> {
        let kept = models.kept()?;
        let mut fields = ModelFields {
            base_url: self.base_url.clone(),
            model: self.model.clone(),
            auth: auth_name(self.auth),
            profile: profile_name(self.profile),
            has_key: kept.is_some_and(|kept| kept.key.is_some()),
            ..ModelFields::default()
        };
        let only_save = self.act == "save";
        let entered = match self.read() {
            Ok(entered) => entered,
            Err(errors) => {
                fields.errors = errors;
                return Ok(fields);
            }
        };
        let tested = if only_save {
            None
        } else {
            match models.test(&entered, Some(me.account())).await? {
                Ok(tested) => Some(tested),
                Err(error) => {
                    let id = error.request_id.as_ref().map(|id| format!(" Its request id: {id}."));
                    let message = format!("{error}{} Nothing was saved.", id.unwrap_or_default());
                    fields.errors.push(FieldError { field: "base_url".into(), message });
                    return Ok(fields);
                }
            }
        };
        fields.has_key |= entered.key.is_some();
        let (store, actor) = (models.clone(), me.actor());
        if let Some(tested) = &tested {
            fields.offered = tested.models.iter().map(|m| m.id.clone()).take(50).collect();
            fields.worked = Some(format!("It answered in {} ms: “{}”", tested.took.as_millis(), tested.said));
        }
        actix_web::web::block(move || store.save(actor, &entered, tested.as_ref())).await??;
        Ok(fields)
    }

    fn read(self) -> Result<Entered, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, message: &str| {
            errors.push(FieldError { field: field.into(), message: message.into() });
        };
        let base_url = Url::parse(self.base_url.trim())
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
        if base_url.is_none() {
            wrong("base_url", "Enter the full address, such as http://models.intranet:8000");
        }
        let model = self.model.trim().to_owned();
        if model.is_empty() || model.len() > 200 || model.contains(char::is_whitespace) {
            wrong("model", "Enter the model’s id, as the endpoint lists it");
        }
        let key = self.key.trim().to_owned();
        if key.len() > 1000 || !key.chars().all(|c| c.is_ascii_graphic()) {
            wrong("key", "A key has no spaces and at most 1,000 characters");
        }
        match base_url {
            Some(base_url) if errors.is_empty() => Ok(Entered {
                base_url,
                model,
                auth: self.auth,
                key: (!key.is_empty()).then(|| Secret::new(key)),
                profile: self.profile,
            }),
            _ => Err(errors),
        }
    }
}

impl From<ModelsError> for Problem {
    fn from(error: ModelsError) -> Self {
        match error {
            ModelsError::Store(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}
