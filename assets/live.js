// Keeps fragments of a page fresh. An element with an id and data-live="topics" is drawn again when the server says
// that one of its topics changed: the page is asked for once more, and only those elements take its contents. Without
// this file a reload shows the same.
//
// A browser opens few connections to a server, so its pages share one stream: whoever holds the lock listens and tells
// the others. A page that nobody has looked at for a while lets go.
const url = document.querySelector('[data-live-stream]')?.dataset.liveStream;
const IDLE = 5 * 60_000;
const PAUSE = 400;
const RETRY = 10_000;
const fragments = () => [...document.querySelectorAll('[data-live][id]')];

let busy = false;
let again = false;

async function refresh() {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
    // A redirect means that the session ended: what is shown stays, the next click leads to the sign-in.
    if (answer.ok && !answer.redirected) {
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
      for (const old of fragments()) take(old, fresh.getElementById(old.id));
    }
  } catch {
    // No connection: the next change, or the stream's return, asks again.
  }
  await new Promise((done) => setTimeout(done, PAUSE));
  busy = false;
  if (again) {
    again = false;
    refresh();
  }
}

// The element itself stays, so that screen readers go on to follow it; focus and opened details stay too.
function take(old, fresh) {
  if (!fresh || old.isEqualNode(fresh)) return;
  const focus = old.contains(document.activeElement) ? document.activeElement : null;
  const opened = [...old.querySelectorAll('details')].map((details) => details.open);
  const place = focus && [...old.querySelectorAll('a,button,input,select,textarea,summary')].indexOf(focus);
  if (focus?.matches('input,select,textarea')) {
    focus.addEventListener('blur', refresh, { once: true });
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  old.replaceChildren(...fresh.childNodes);
  old.querySelectorAll('details').forEach((details, n) => {
    if (n in opened) details.open = opened[n];
  });
  if (!focus) return;
  const next = old.querySelectorAll('a,button,input,select,textarea,summary')[place];
  const target = next ?? document.getElementById('content');
  target?.focus({ preventScroll: true });
}

// A page that was drawn a moment ago is up to date but for what changed since; the bell alone is not worth asking again.
function changed(topic) {
  if (topic === 'begun') {
    if (fragments().some((e) => !('liveQuiet' in e.dataset))) refresh();
    return;
  }
  if (topic === '*' || fragments().some((e) => e.dataset.live.split(' ').includes(topic))) refresh();
}

// Listens until the signal says stop. What happened before the stream was open is unknown, so all look again then.
function listen(tell, signal) {
  return new Promise((done) => {
    let events;
    let later = 0;
    let lost = false;
    const connect = () => {
      events = new EventSource(url);
      events.addEventListener('open', () => {
        tell(lost ? '*' : 'begun');
        lost = true;
      });
      events.addEventListener('changed', (event) => tell(event.data));
      events.addEventListener('error', () => {
        // The browser itself tries again after a lost connection, but not after an answer such as 502.
        if (events.readyState === EventSource.CLOSED) later = setTimeout(connect, RETRY);
      });
    };
    connect();
    signal.addEventListener('abort', () => {
      clearTimeout(later);
      events.close();
      done();
    });
  });
}

// What no topic tells of, such as the state of the server, is looked at again while somebody sees the page.
const every = document.querySelector('[data-live-every]')?.dataset.liveEvery;
if (every) setInterval(() => document.hidden || refresh(), every * 1000);

if (url) {
  const name = `live ${url}`;
  const others = new BroadcastChannel(name);
  others.addEventListener('message', (event) => changed(event.data));
  const tell = (topic) => {
    others.postMessage(topic);
    changed(topic);
  };
  let stop = null;
  let idle = 0;

  async function begin() {
    if (stop) return;
    stop = new AbortController();
    const { signal } = stop;
    if (!navigator.locks) {
      listen(tell, signal);
      return;
    }
    const { held } = await navigator.locks.query();
    if (held.some((lock) => lock.name === name)) changed('begun');
    // Ends with an error when this page stops waiting for its turn.
    navigator.locks.request(name, { signal }, () => signal.aborted || listen(tell, signal)).catch(() => {});
  }
  function end() {
    stop?.abort();
    stop = null;
  }

  document.addEventListener('visibilitychange', () => {
    clearTimeout(idle);
    if (document.hidden) idle = setTimeout(end, IDLE);
    else begin();
  });
  addEventListener('pagehide', end);
  addEventListener('pageshow', (event) => event.persisted && begin());
  begin();
}
