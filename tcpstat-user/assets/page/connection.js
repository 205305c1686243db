// The stream of the API. It is opened again when it breaks.

// Two samples are a second apart; without one for so long the other side is gone.
const SILENCE_MS = 5000;
const RETRY_MS = [500, 1000, 2000, 4000];

/** Calls `on.state` with "connecting", "waiting" (nothing has been counted yet), "live" or
    "reconnecting", `on.history` once after each opening, then `on.sample` and `on.status`. */
export function connect(on) {
  let failures = 0;
  let silence;
  open();

  function open() {
    const source = new EventSource("api/v1/stream");
    const asked = new AbortController();
    let samples = 0;

    const lost = () => {
      if (asked.signal.aborted) return;
      asked.abort();
      clearTimeout(silence);
      source.close();
      on.state("reconnecting");
      setTimeout(open, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
      failures += 1;
    };
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(lost, SILENCE_MS);
    };

    source.addEventListener("open", () => {
      if (samples === 0) on.state("waiting");
    });
    source.addEventListener("error", lost);
    source.addEventListener("status", ({ data }) => on.status(JSON.parse(data)));
    source.addEventListener("sample", async ({ data }) => {
      heard();
      samples += 1;
      if (samples === 1) {
        try {
          const answer = await fetch("api/v1/history", { signal: asked.signal });
          if (!answer.ok) throw new Error(`history: ${answer.status}`);
          on.history(await answer.json());
        } catch {
          lost();
          return;
        }
        failures = 0;
        on.state("live");
      }
      on.sample(JSON.parse(data));
    });
  }
}
