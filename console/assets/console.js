// Keeps what is marked `data-live` up to date, asks before what cannot be taken back, and brings `/` to the filter. Pages work without.
"use strict";
(() => {
  const AGAIN_MS = 10000;
  const sign = document.querySelector("[data-live-sign]");
  const address = new URL(location.href);

  // The sentence was shown: a page that is loaded again, or a link to it, does not say it once more.
  if (address.searchParams.has("said")) {
    address.searchParams.delete("said");
    address.searchParams.delete("seal");
    // Without the origin: an address that somebody came by may have a name and a password in it.
    history.replaceState(null, "", address.pathname + address.search + address.hash);
  }

  // On a phone the pages' names do not fit beside each other: one sees where one is.
  document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  // What somebody is at is left alone: what they press, write into, have opened or selected. A link or a button that only has the focus is
  // renewed, and has it again.
  const isBusy = (part) =>
    part.querySelector(":active") !== null
    || part !== document.activeElement && part.contains(document.activeElement) && !document.activeElement.matches("a, button, [data-key] > summary")
    || part.querySelector("details[open].menu, dialog[open]") !== null
    || document.getSelection().toString() !== "" && part.contains(document.getSelection().anchorNode);

  // Where a link leads, and what a button sends: another one beside it is another one.
  const means = (element) => element.form ? new URLSearchParams(new FormData(element.form, element)).toString() : element.getAttribute("href") ?? element.parentElement.dataset.key;

  // Tables that somebody pushed sideways stay where they are.
  const scrolled = (part) => [...part.querySelectorAll(".scroll, .graph, pre, .said")]
    .map((element) => ({ element, left: element.scrollLeft, top: element.scrollTop }));

  const served = new WeakMap();
  const renew = (page) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = page.querySelector(`[data-live="${part.dataset.live}"]`);
      if (next === null || isBusy(part)) continue;
      const html = next.innerHTML;
      if ((served.get(part) ?? part.innerHTML) === html) continue;
      const focused = part.contains(document.activeElement) && part !== document.activeElement ? means(document.activeElement) : null;
      const pushed = scrolled(part);
      const open = new Map([...part.querySelectorAll("details[data-key]")].map((details) => [details.dataset.key, details.open]));
      part.replaceChildren(...[...next.childNodes].map((node) => document.importNode(node, true)));
      served.set(part, html);
      // Logs that somebody has opened stay open.
      for (const details of part.querySelectorAll("details[data-key]")) details.open = open.get(details.dataset.key) ?? details.open;
      scrolled(part).forEach(({ element }, at) => element.scrollTo(pushed[at]?.left ?? 0, pushed[at]?.top ?? 0));
      if (focused !== null) [...part.querySelectorAll("a, button, [data-key] > summary")].find((one) => means(one) === focused)?.focus({ preventScroll: true });
    }
  };

  const look = async () => {
    if (document.visibilityState !== "visible" || document.querySelector("dialog[open]") !== null) return;
    try {
      const answer = await fetch(address, { headers: { "x-windlass-live": "1" }, credentials: "same-origin", redirect: "error" });
      const is_page = answer.headers.get("content-type")?.startsWith("text/html");
      if (answer.ok && is_page) renew(new DOMParser().parseFromString(await answer.text(), "text/html"));
      say(answer.ok ? "live" : "not live");
    } catch {
      say("not live");
    }
  };
  const say = (word) => {
    if (sign === null) return;
    sign.hidden = false;
    sign.textContent = word;
    sign.classList.toggle("off", word !== "live");
  };

  // The console says when there may be something new. It is listened to while the page is seen, and one look is under way at a time.
  let source = null, retry = 0, isLooking = false, isWanted = false;
  const want = async () => {
    isWanted = true;
    if (isLooking) return;
    isLooking = true;
    while (isWanted) {
      isWanted = false;
      await look();
    }
    isLooking = false;
  };
  const leave = () => {
    clearTimeout(retry);
    source?.close();
    source = null;
  };
  const listen = () => {
    if (source !== null || document.visibilityState !== "visible") return;
    source = new EventSource(sign.dataset.liveSign);
    source.addEventListener("look", want);
    source.addEventListener("error", () => {
      say("not live");
      // What was cut off the browser takes up again; what was refused it does not.
      if (source?.readyState !== EventSource.CLOSED) return;
      leave();
      retry = setTimeout(listen, AGAIN_MS);
    });
  };
  if (sign !== null && document.querySelector("[data-live]") !== null) {
    listen();
    document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") listen(); else leave(); });
    addEventListener("pagehide", leave);
    addEventListener("pageshow", listen);
  }

  // Asks in a dialog, and sends the form as its button would have.
  document.addEventListener("submit", (event) => {
    const form = event.target, question = form.dataset.confirm;
    // A filter's address says what it says, and nothing of what it does not.
    if (form.method === "get") {
      for (const field of form.elements) if (field.name !== "" && field.value === "") field.disabled = true;
      setTimeout(() => { for (const field of form.elements) field.disabled = false; });
    }
    if (question === undefined) return;
    event.preventDefault();
    const dialog = document.createElement("dialog"), text = document.createElement("p"), row = document.createElement("p");
    const no = document.createElement("button"), yes = document.createElement("button");
    text.textContent = question;
    row.className = "actions";
    [no.textContent, yes.textContent, yes.className] = ["Leave it", event.submitter?.textContent ?? "Do it", "bad"];
    row.append(no, yes);
    dialog.append(text, row);
    document.body.append(dialog);
    const submitter = event.submitter;
    no.addEventListener("click", () => dialog.close());
    yes.addEventListener("click", () => {
      dialog.close();
      delete form.dataset.confirm;
      form.requestSubmit(submitter ?? undefined);
    });
    dialog.addEventListener("close", () => { dialog.remove(); submitter?.focus(); });
    dialog.showModal();
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, dialog")) return;
    const field = document.querySelector("[data-first]");
    if (field === null) return;
    event.preventDefault();
    field.focus();
    field.select();
  });

  // What is wanted elsewhere is copied: what the button has, or what stands below it. Nothing is offered where a browser does not allow it.
  for (const button of navigator.clipboard === undefined ? [] : document.querySelectorAll("button[data-copy]")) {
    const name = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = button.dataset.copy || button.closest("section").querySelector("pre").textContent;
      button.textContent = await navigator.clipboard.writeText(text).then(() => "Copied", () => "Not allowed here");
      setTimeout(() => { button.textContent = name; }, 2000);
    });
  }

  // Of the fields that a verb may need, those of the chosen one.
  for (const choice of document.querySelectorAll('select[name="verb"]')) {
    const show = () => {
      for (const label of choice.form.querySelectorAll("[data-for]")) label.hidden = label.dataset.for !== choice.value;
    };
    choice.addEventListener("change", show);
    show();
  }
})();
