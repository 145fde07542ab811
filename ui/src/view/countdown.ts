// Time as people read it. A countdown is only ever a subtraction made here.

import { words } from "../words";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
/** In the last two minutes seconds are shown. */
const FINE = 2 * MINUTE;

/** Milliseconds from `now` until the instant, zero when it has passed. */
export function remaining(at: string, now: number): number {
  return Math.max(0, Date.parse(at) - now);
}

/** `2 d 3 h`, `7 h 12 min`, `42 min`; `1 min 59 s` and `59 s` in the last two minutes. */
export function countdown(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / SECOND);
  if (milliseconds < FINE) return words.duration([[Math.floor(seconds / 60), "min"], [seconds % 60, "s"]]);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return words.duration([[minutes, "min"]]);
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return words.duration([[hours, "h"], [minutes % 60, "min"]]);
  return words.duration([[Math.floor(hours / 24), "d"], [hours % 24, "h"]]);
}

/** Milliseconds until `countdown` reads differently. */
export function nextChange(milliseconds: number): number {
  if (milliseconds <= 0) return Number.POSITIVE_INFINITY;
  const step = milliseconds < FINE + MINUTE ? SECOND : MINUTE;
  return (milliseconds % step) + 1;
}

/** `15:42` in the person's own time zone. */
export function clockTime(at: string): string {
  return new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

/** `1h30m` and `PT1H30M` as `1 h 30 min`; what is neither stays as it is. */
export function spokenDuration(text: string): string {
  const seconds = durationSeconds(text);
  if (seconds === null) return text;
  const parts: [number, string][] = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  return words.duration(parts);
}

/** Seconds of `1h30m` or `PT1H30M`; null for anything else. */
export function durationSeconds(text: string): number | null {
  const found = /^(?:P?(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?$/i.exec(text.replace(/^PT/i, "T"));
  if (found === null) return null;
  const [days, hours, minutes, seconds] = found.slice(1).map((part) => Number(part ?? 0));
  const total = (days ?? 0) * 86400 + (hours ?? 0) * 3600 + (minutes ?? 0) * 60 + (seconds ?? 0);
  return total > 0 ? total : null;
}
