// A page of another site with the pickers, as an application would have them.
import React from "react";
import { createRoot } from "react-dom/client";
import { GifPicker } from "gif-picker-react";
import { Tenor } from "gif-picker-react/providers/tenor";
import { Giphy } from "gif-picker-react/providers/giphy";
import OldPicker from "gif-picker-react-1";

const asked = new URLSearchParams(location.search);
const base = asked.get("base");
const taken = (gif) => (document.title = JSON.stringify(gif));
const pickers = {
  tenor: () => <GifPicker provider={Tenor("any", { baseUrl: `${base}/v2/` })} onGifClick={taken} />,
  giphy: () => <GifPicker provider={Giphy("any", { baseUrl: `${base}/v1/` })} onGifClick={taken} />,
  old: () => <OldPicker tenorApiKey="any" onGifClick={taken} />,
};
createRoot(document.getElementById("root")).render(pickers[asked.get("picker")]());
