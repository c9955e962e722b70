// Browsers start no worker for a page from the disk. There, the theme's search runs in a hidden
// frame instead, so that it works offline, too. (mkdocs-material loads "iframe-worker" for that.)
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inner = frame.contentWindow;
      inner.document.open();
      inner.document.write("<body></body>");
      inner.document.close();
      const load = (address) => new Promise((resolve, reject) => {
        const script = inner.document.createElement("script");
        Object.assign(script, { src: address, onload: resolve, onerror: reject });
        inner.document.body.append(script);
      });
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      inner.importScripts = (...addresses) =>
        addresses.reduce((before, address) => before.then(() => load(address)), Promise.resolve());
      const ready = load(url);
      this.postMessage = (data) =>
        ready.then(() => inner.dispatchEvent(new inner.MessageEvent("message", { data })));
      this.terminate = () => frame.remove();
    }
  };
}
