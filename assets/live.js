// Keeps fragments of a page fresh. An element with an id and data-live="topics" is replaced when the server
// says that one of its topics changed: the page is asked for again, and only those elements are put in. Without this
// file a reload shows the same.
const stream = document.querySelector('[data-live-stream]');
let timer = 0;

async function refresh() {
  timer = 0;
  const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
  for (const old of document.querySelectorAll('[data-live]')) {
    const next = fresh.getElementById(old.id);
    if (next && next.outerHTML !== old.outerHTML && !old.contains(document.activeElement)) old.replaceWith(next);
  }
}

if (stream) {
  const events = new EventSource(stream.dataset.liveStream);
  events.addEventListener('changed', (event) => {
    const shown = [...document.querySelectorAll('[data-live]')];
    if (event.data === '*' || shown.some((e) => e.dataset.live.split(' ').includes(event.data))) timer ||= setTimeout(refresh, 400);
  });
  addEventListener('pagehide', () => events.close());
}
