// A conversation as it happens. Without this file the forms post and the page comes back whole; with it a question is
// sent in place, its answer is written as it comes, and every tab that shows the conversation shows the same.
//
// The page is the truth: it is asked for again when a question was posted, when an answer has ended and when another
// tab did either. In between, the event stream of the running turn writes into the answer: text as text nodes, and
// each finished block as the HTML that the server made of it.
const chat = document.querySelector('[data-chat]');
const list = document.getElementById('msgs');
const ask = document.getElementById('ask');
const field = ask?.querySelector('textarea');
const send = ask?.querySelector('.send');
const say = document.getElementById('say');
const jump = document.getElementById('jump');
const drafts = `draft ${location.pathname}`;
const RETRY = 3_000;

// ---- the end of the page stays in view, unless the reader went up

let stick = true;
const atEnd = () => document.documentElement.scrollHeight - innerHeight - scrollY < 96;
const toEnd = () => scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' });
const follow = () => {
  if (stick) toEnd();
  if (jump) jump.hidden = stick || !turn;
};
addEventListener('scroll', () => {
  stick = atEnd();
  if (jump) jump.hidden = stick || !turn;
}, { passive: true });
jump?.addEventListener('click', () => {
  stick = true;
  follow();
  field?.focus({ preventScroll: true });
});

// ---- the running turn

let turn = null;

class Turn {
  constructor(article) {
    this.article = article;
    this.prose = article.querySelector('.prose');
    this.live = null;
    this.waiting = '';
    this.frame = 0;
    this.later = 0;
    this.listen();
  }

  listen() {
    if (document.hidden || this.events) return;
    const events = new EventSource(this.article.dataset.events);
    this.events = events;
    const on = (name, act) =>
      events.addEventListener(name, (event) => {
        // The browser's own error events carry no data.
        if (event.data !== undefined) act.call(this, JSON.parse(event.data));
      });
    on('started', this.begin);
    on('text', this.text);
    on('block', this.block);
    on('tool', this.tool);
    on('done', () => this.end('Answer complete.'));
    on('error', () => this.end('The answer failed. Your message is saved.'));
    events.addEventListener('error', (event) => {
      if (event.data !== undefined || events.readyState !== EventSource.CLOSED) return;
      // The server had nothing to say to this: the page knows what became of the turn.
      this.quiet();
      this.later = setTimeout(() => take(), RETRY);
    });
  }

  // Lets go of the connection; the turn itself goes on at the server.
  quiet() {
    this.events?.close();
    this.events = null;
    clearTimeout(this.later);
  }

  // Everything is told again from here.
  begin() {
    this.waiting = '';
    this.live = document.createElement('p');
    this.live.className = 'coming';
    this.prose.replaceChildren(this.live);
    announce('Vynos is answering. Press Escape to stop.');
  }

  text({ text }) {
    this.waiting += text;
    this.frame ||= requestAnimationFrame(() => this.flush());
  }

  flush() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    if (!this.live) return;
    if (this.waiting) this.live.append(this.waiting);
    this.waiting = '';
    this.live.classList.toggle('code', this.live.textContent.startsWith('```'));
    follow();
  }

  block({ html, rest }) {
    this.flush();
    if (!this.live) return;
    const made = document.createElement('template');
    made.innerHTML = html;
    arm(made.content);
    this.live.before(made.content);
    this.live.replaceChildren(rest);
    this.flush();
  }

  tool({ name, status, summary }) {
    const tools = this.article.querySelector('.tools');
    if (!tools) return;
    tools.hidden = false;
    tools.querySelector('[data-now]').textContent = summary || name;
    tools.querySelector('.spin')?.classList.toggle('still', status !== 'running');
    follow();
  }

  async end(words) {
    this.flush();
    this.quiet();
    await take();
    announce(words);
  }
}

// For screen readers: the page itself shows the same.
function announce(words) {
  if (!say) return;
  say.className = 'vh';
  if (say.textContent !== words) say.textContent = words;
}

// For everybody: nothing else on the page says it.
function complain(words) {
  announce(words);
  say.className = 'note bad';
}

// ---- the page as it is now

let taking = null;

// Asks for the page again and takes over what is new in it; `made` is a page that is there already.
async function take(made) {
  if (taking) await taking;
  taking = (async () => {
    try {
      const page = made ?? (await load(location.href));
      if (page) merge(page);
    } catch {
      // No connection: what is shown stays, and is asked for again later.
      setTimeout(() => take(), RETRY);
    }
  })();
  await taking;
  taking = null;
}

async function load(url, options) {
  const answer = await fetch(url, { headers: { accept: 'text/html' }, ...options });
  // The session ended, or the conversation was deleted: the server's page says so.
  if (!answer.ok || new URL(answer.url).pathname !== location.pathname) {
    if (answer.status === 422 || answer.status === 409) throw new Error(await words(answer));
    location.assign(answer.ok ? answer.url : location.href);
    return null;
  }
  return new DOMParser().parseFromString(await answer.text(), 'text/html');
}

async function words(answer) {
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const said = page.querySelector('main li') ?? page.querySelector('main p');
  return said?.textContent ?? 'The message was not sent.';
}

function merge(page) {
  const fresh = page.getElementById('msgs');
  if (!fresh || !list) return;
  const known = new Set();
  for (const part of [...fresh.children]) {
    known.add(part.id);
    const old = document.getElementById(part.id);
    if (old && old.dataset.print === part.dataset.print) continue;
    arm(part);
    if (old) put(old, part);
    else list.append(part);
  }
  for (const old of [...list.children]) if (!known.has(old.id)) old.remove();
  for (const id of ['title', 'recent-chats', 'stop-form']) {
    const [old, now] = [document.getElementById(id), page.getElementById(id)];
    if (old && now && !old.isEqualNode(now)) old.replaceWith(now);
  }
  document.title = page.title;
  resume();
  follow();
}

// A part takes the place of its older self; focus and opened details stay.
function put(old, part) {
  const inside = old.contains(document.activeElement);
  const opened = [...old.querySelectorAll('details')].map((details) => details.open);
  old.replaceWith(part);
  if (opened.length === part.querySelectorAll('details').length) {
    part.querySelectorAll('details').forEach((details, n) => {
      details.open = opened[n];
    });
  }
  if (inside) field?.focus({ preventScroll: true });
}

// Attaches to the turn that runs, if one does.
function resume() {
  const article = list?.querySelector('[data-events]');
  if (turn && turn.article !== article) {
    turn.quiet();
    turn = null;
  }
  if (article && !turn) {
    turn = new Turn(article);
  }
  busy(Boolean(turn));
}

function busy(on) {
  if (!send || send.classList.contains('stop') === on) return;
  send.classList.toggle('stop', on);
  if (on) send.setAttribute('form', 'stop-form');
  else send.removeAttribute('form');
  send.querySelector('.vh').textContent = on ? 'Stop answering' : 'Send';
  const use = send.querySelector('use');
  use.setAttribute('href', use.getAttribute('href').replace(/#.*/, on ? '#i-square' : '#i-arrow-up'));
  field.placeholder = on ? field.dataset.waiting : field.dataset.idle;
}

// ---- asking and stopping

async function post(form, body) {
  return load(form.action, { method: 'POST', body, headers: { accept: 'text/html' } });
}

async function submit(form) {
  const text = field.value;
  const body = new URLSearchParams(new FormData(form));
  stick = true;
  announce('');
  try {
    if (form === ask) {
      field.value = '';
      sessionStorage.removeItem(drafts);
    }
    const page = await post(form, body);
    if (page) await take(page);
  } catch (error) {
    if (form === ask && !field.value) field.value = text;
    complain(error instanceof TypeError ? 'No connection. Your message was not sent and stays here.' : error.message);
  } finally {
    delete form.dataset.sent;
  }
}

async function stop() {
  const form = document.getElementById('stop-form');
  const body = new URLSearchParams(new FormData(form));
  announce('Stopping.');
  try {
    await fetch(form.action, { method: 'POST', body, headers: { accept: 'text/html' } });
    await take();
    announce('Stopped. What came is kept.');
  } catch {
    complain('No connection, so the answer goes on.');
  }
}

document.addEventListener('submit', (event) => {
  const form = event.target;
  if (form.id === 'stop-form') {
    event.preventDefault();
    stop();
  } else if (chat && (form === ask || form.matches('[data-in-place]'))) {
    event.preventDefault();
    if (form === ask && (turn || !field.value.trim())) return;
    submit(form);
  }
});

field?.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing || matchMedia('(pointer:coarse)').matches) return;
  event.preventDefault();
  if (!turn && field.value.trim()) ask.requestSubmit();
});
field?.addEventListener('input', () => sessionStorage.setItem(drafts, field.value));
addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && turn && !document.querySelector(':popover-open')) stop();
});

// ---- citations, copying

list?.addEventListener('click', (event) => {
  const chip = event.target.closest('a.cite');
  const source = chip && document.getElementById(decodeURIComponent(chip.hash.slice(1)));
  if (source) {
    event.preventDefault();
    mark(chip, source);
  }
  const button = event.target.closest('[data-copy-code]');
  if (button) copy(button, button.closest('.codeb').querySelector('pre').innerText);
  const whole = event.target.closest('[data-copy-answer]');
  if (whole) copy(whole, whole.closest('.msg').querySelector('.prose').innerText);
});

function mark(chip, source) {
  for (const one of list.querySelectorAll('.cite[aria-current], .src.on')) {
    one.removeAttribute('aria-current');
    one.classList.remove('on');
  }
  chip.setAttribute('aria-current', 'true');
  source.classList.add('on');
  const details = source.closest('details');
  if (details) details.open = true;
  source.focus({ preventScroll: true });
  source.scrollIntoView({ block: 'nearest' });
}

async function copy(button, text) {
  const label = button.querySelector('span');
  try {
    await navigator.clipboard.writeText(text.trim());
    announce('Copied.');
    label?.replaceChildren('Copied');
  } catch {
    complain('The browser did not allow it. Select the text and copy it.');
  }
}

// Buttons that need script and a clipboard are shown where both are there.
function arm(part) {
  if (!navigator.clipboard) return;
  for (const button of part.querySelectorAll('[data-copy-code],[data-copy-answer]')) button.hidden = false;
}

// ---- begin

if (field) {
  field.value ||= sessionStorage.getItem(drafts) ?? '';
  addEventListener('pagehide', () => turn?.quiet());
  document.addEventListener('visibilitychange', () => {
    // A browser opens few connections; what came meanwhile is told again.
    if (document.hidden) turn?.quiet();
    else turn?.listen();
  });
}
if (chat) {
  arm(document);
  // What other tabs and the server say about this workspace reaches the page over the stream that live.js shares.
  const url = document.querySelector('[data-live-stream]').dataset.liveStream;
  new BroadcastChannel(`live ${url}`).addEventListener('message', ({ data }) => {
    if (data === '*' || data === chat.dataset.chat) take();
  });
  resume();
  if (turn || !location.hash) toEnd();
  if (matchMedia('(pointer:fine)').matches && !location.hash) field?.focus({ preventScroll: true });
}
