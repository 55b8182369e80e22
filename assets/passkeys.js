// Passkeys: asks the browser to make one or to prove one, and sends its answer as a form. Buttons that need this
// carry data-passkey and stay hidden where the browser can't.
const bytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
const text = (buffer) =>
  buffer &&
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

/** The server's options as the browser takes them: byte strings are base64url on the way. */
const creation = (options) => ({
  ...options,
  challenge: bytes(options.challenge),
  user: { ...options.user, id: bytes(options.user.id) },
  excludeCredentials: (options.excludeCredentials ?? []).map((c) => ({ ...c, id: bytes(c.id) })),
});
const request = (options) => ({
  ...options,
  challenge: bytes(options.challenge),
  allowCredentials: (options.allowCredentials ?? []).map((c) => ({ ...c, id: bytes(c.id) })),
});

/** The browser's answer as the server takes it. */
const written = ({ id, rawId, type, response }) =>
  JSON.stringify({
    id,
    rawId: text(rawId),
    type,
    response: response.attestationObject
      ? { attestationObject: text(response.attestationObject), clientDataJSON: text(response.clientDataJSON) }
      : {
          authenticatorData: text(response.authenticatorData),
          clientDataJSON: text(response.clientDataJSON),
          signature: text(response.signature),
          userHandle: text(response.userHandle) ?? null,
        },
  });

/** What went wrong, for the person who pressed the button. */
class Told extends Error {}

const reasons = {
  AbortError: 'The browser cancelled. Nothing was changed.',
  InvalidStateError: 'This passkey is registered already. Use it to sign in.',
  NotAllowedError: 'The browser cancelled, or no passkey was chosen in time. Nothing was changed.',
  NotSupportedError: 'This browser or key can’t make such a passkey. Try another one.',
  SecurityError: 'Passkeys need this page over https under its own name.',
};
const said = (error) =>
  error instanceof Told ? error.message : (reasons[error.name] ?? 'The server can’t be reached. Try again.');

async function post(url, fields) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { accept: 'application/json' },
    body: new URLSearchParams(fields),
  });
  const body = await answer.json().catch(() => ({}));
  if (body.confirm) {
    // The person proves once more who they are, and comes back to this page.
    location.assign(body.confirm);
    return new Promise(() => {});
  }
  if (!answer.ok) throw new Told(body.errors?.[0]?.message ?? body.detail ?? 'Something broke here. Try again.');
  return body;
}

/** Fields that go with both requests: the key of the session, where to go on, what else the form says. */
const fieldsOf = (button) => {
  const fields = {};
  if (button.dataset.csrf) fields.csrf = button.dataset.csrf;
  for (const id of (button.dataset.with ?? '').split(' ').filter(Boolean)) {
    const field = document.getElementById(id);
    fields[field.name] = field.value;
  }
  return fields;
};

/** One ceremony from begin to finish; `options` go to the browser beside the server's own. */
async function ceremony(button, options = {}) {
  const fields = fieldsOf(button);
  const begun = await post(`${button.dataset.url}/begin`, fields);
  const asked = begun.options.publicKey;
  const made =
    button.dataset.passkey === 'add'
      ? await navigator.credentials.create({ ...options, publicKey: creation(asked) })
      : await navigator.credentials.get({ ...options, publicKey: request(asked) });
  const answer = { ...fields, ceremony: begun.ceremony, credential: written(made) };
  if (button.dataset.next) answer.next = button.dataset.next;
  const { next } = await post(`${button.dataset.url}/finish`, answer);
  location.assign(next);
}

/** The offer in the field of the sign-in page, open until another ceremony begins. */
let offered;

async function offer(button) {
  offered = new AbortController();
  const { signal } = offered;
  // The server keeps a challenge for five minutes.
  const again = setTimeout(() => {
    offered.abort();
    offer(button);
  }, 4 * 60_000);
  signal.addEventListener('abort', () => clearTimeout(again));
  try {
    await ceremony(button, { mediation: 'conditional', signal });
  } catch (error) {
    // Only what the person chose from the field is worth a word.
    if (error instanceof Told) tell(button, error);
  }
}

function tell(button, error) {
  const place = document.getElementById(button.dataset.said);
  place.textContent = said(error);
  place.hidden = false;
}

async function pressed(button) {
  offered?.abort();
  document.getElementById(button.dataset.said).hidden = true;
  button.disabled = true;
  try {
    await ceremony(button);
  } catch (error) {
    tell(button, error);
  }
  button.disabled = false;
}

const able = globalThis.PublicKeyCredential && isSecureContext;
for (const button of document.querySelectorAll('[data-passkey]')) {
  if (!able) continue;
  button.hidden = false;
  button.addEventListener('click', () => pressed(button));
  if (button.dataset.offer !== undefined && (await PublicKeyCredential.isConditionalMediationAvailable?.()))
    offer(button);
}
for (const part of document.querySelectorAll('[data-with-passkeys]')) part.hidden = !able;
for (const part of document.querySelectorAll('[data-no-passkeys]')) part.hidden = Boolean(able);
