//! The model endpoint that the operator chose: kept in the control file, its key sealed as a record. Chat asks
//! here for a client; setup and the instance's settings test and save it, from the fields of `form`.

mod form;

pub use form::{ModelFields, ModelForm};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::egress::{Cause, EgressError, Gate, Policy, Purpose};
use crate::identity::Control;
use crate::identity::control::Note;
use crate::ids::AccountId;
use crate::seal::{Place, SealError, Sealed, Secret};
use crate::store::audit::{Action, Actor};
use crate::store::{Read as _, StoreError, Table};
use crate::wire::model::{
    Auth, Endpoint, ModelClient, ModelError, Profile, Tested, VERSION_ANTHROPIC, VERSION_OTHERS,
};

/// One row: the endpoint of the instance.
pub const MODEL_ENDPOINT: Table<u8, Kept> = Table::new("model_endpoint", 1);
const PLACE: Place<'static> = Place { workspace: "control", table: "model_endpoint", key: "0" };
/// The vendor's own server; every other one is asked in the older version and the plainer profile.
const VENDOR: &str = "api.anthropic.com";

/// The endpoint as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub base_url: Url,
    pub model: String,
    pub auth: Auth,
    pub key: Option<Sealed>,
    /// All of the Messages API, or only its basics.
    pub profile: Profile,
    /// The name that the endpoint itself gives the model, as the last test read it.
    #[serde(default)]
    pub label: Option<String>,
}

/// What a person entered; the key is kept from before when they leave it empty.
#[derive(Clone, Debug)]
pub struct Entered {
    pub base_url: Url,
    pub model: String,
    pub auth: Auth,
    pub key: Option<Secret>,
    pub profile: Profile,
}

impl Entered {
    fn endpoint(&self) -> Endpoint {
        let vendor = self.base_url.host_str() == Some(VENDOR);
        Endpoint {
            name: self.base_url.host_str().unwrap_or("the model endpoint").to_owned(),
            base_url: self.base_url.clone(),
            auth: self.auth,
            key: self.key.clone(),
            version: if vendor { VERSION_ANTHROPIC } else { VERSION_OTHERS }.to_owned(),
            profile: self.profile,
            model: self.model.clone(),
        }
    }
}

/// The endpoint in use, ready to be asked.
#[derive(Clone)]
pub struct Chosen {
    pub client: ModelClient,
    /// Its host, as pages name it.
    pub name: String,
    pub model: String,
    /// What the endpoint calls it, shown wherever it answers; its id where the endpoint gives no name.
    pub label: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    #[error("the model endpoint can't be called: {0}")]
    Egress(#[from] EgressError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The instance's model endpoint. Cheap to clone.
#[derive(Clone)]
pub struct Models {
    control: Control,
    gate: Gate,
    base: Policy,
}

impl Models {
    /// Lets the saved endpoint through the gate; `base` is what is allowed besides.
    pub fn start(control: Control, gate: Gate, base: Policy) -> Result<Self, ModelsError> {
        let this = Self { control, gate, base };
        if let Some(kept) = this.kept()? {
            this.allow(&kept.base_url);
        }
        Ok(this)
    }

    /// The endpoint as kept; `None` while none is configured.
    pub fn kept(&self) -> Result<Option<Kept>, StoreError> {
        self.control.read()?.get(&MODEL_ENDPOINT, &0)
    }

    /// The endpoint in use; `None` while none is configured.
    pub fn chosen(&self) -> Result<Option<Chosen>, ModelsError> {
        let Some(kept) = self.kept()? else { return Ok(None) };
        let label = kept.label.clone().unwrap_or_else(|| kept.model.clone());
        let endpoint = self.entered(kept)?.endpoint();
        Ok(Some(Chosen {
            name: endpoint.name.clone(),
            model: endpoint.model.clone(),
            client: ModelClient::new(self.gate.clone(), endpoint),
            label,
        }))
    }

    /// Really calls what was entered, without saving it: its list of models, then a few words.
    pub async fn test(
        &self,
        entered: &Entered,
        by: Option<AccountId>,
    ) -> Result<Result<Tested, ModelError>, ModelsError> {
        let gate = self.gate.beside(self.with(&entered.base_url));
        let client = ModelClient::new(gate, self.completed(entered)?.endpoint());
        let cause = Cause {
            purpose: Purpose::Model,
            workspace: None,
            account: by,
            why: "test of the endpoint".into(),
        };
        Ok(client.test(&cause).await)
    }

    /// Saves the endpoint; answers from now on come from it. `tested` knows the model's own name.
    pub fn save(&self, by: Actor, entered: &Entered, tested: Option<&Tested>) -> Result<(), ModelsError> {
        let entered = self.completed(entered)?;
        let kept = Kept {
            base_url: entered.base_url.clone(),
            model: entered.model.clone(),
            auth: entered.auth,
            key: entered.key.as_ref().map(|key| self.control.records().seal_record(PLACE, key)),
            profile: entered.profile,
            label: tested
                .and_then(|t| t.models.iter().find(|m| m.id == entered.model))
                .map(|m| m.display_name.clone()),
        };
        let note = Note::new(by, Action::ModelChanged, "instance");
        self.control.change_now::<_, StoreError>(note, |tx| tx.put(&MODEL_ENDPOINT, &0, &kept))?;
        self.allow(&kept.base_url);
        Ok(())
    }

    /// Forgets the endpoint and its key; chat goes on without a model.
    pub fn remove(&self, by: Actor) -> Result<(), ModelsError> {
        let note = Note::new(by, Action::ModelChanged, "instance");
        self.control.change_now::<_, StoreError>(note, |tx| tx.remove(&MODEL_ENDPOINT, &0).map(|_| ()))?;
        self.gate.change_policy(|policy| policy.models.clear());
        Ok(())
    }

    /// A key that was left empty is the saved one, as long as it goes to the same origin.
    fn completed(&self, entered: &Entered) -> Result<Entered, ModelsError> {
        let mut entered = entered.clone();
        if entered.key.is_none()
            && let Some(kept) = self.kept()?
            && kept.base_url.origin() == entered.base_url.origin()
        {
            entered.key = self.entered(kept)?.key;
        }
        Ok(entered)
    }

    fn entered(&self, kept: Kept) -> Result<Entered, ModelsError> {
        let key = kept.key.as_ref().map(|key| self.control.records().open_record(PLACE, key)).transpose()?;
        Ok(Entered {
            base_url: kept.base_url,
            model: kept.model,
            auth: kept.auth,
            key,
            profile: kept.profile,
        })
    }

    fn with(&self, model: &Url) -> Policy {
        Policy { models: vec![model.clone()], ..self.base.clone() }
    }

    fn allow(&self, model: &Url) {
        self.gate.change_policy(|policy| policy.models = vec![model.clone()]);
    }
}
