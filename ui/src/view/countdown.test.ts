import { describe, expect, test } from "vitest";
import { clockTime, countdown, durationSeconds, nextChange, remaining, spokenDuration } from "./countdown";

describe("a countdown", () => {
  test.each([
    [0, "0 s"],
    [59_999, "59 s"],
    [60_000, "1 min"],
    [119_000, "1 min 59 s"],
    [120_000, "2 min"],
    [42 * 60_000 + 59_000, "42 min"],
    [3_600_000, "1 h"],
    [(7 * 60 + 12) * 60_000, "7 h 12 min"],
    [51 * 3_600_000, "2 d 3 h"],
  ])("of %i ms reads %s", (milliseconds, text) => expect(countdown(milliseconds)).toBe(text));

  test("never goes below zero", () => {
    const at = "2026-01-01T12:00:00Z";
    expect(remaining(at, Date.parse(at) + 5_000)).toBe(0);
    expect(remaining(at, Date.parse(at) - 5_000)).toBe(5_000);
  });

  test.each([1, 999, 1_000, 59_500, 119_999, 120_000, 150_250, 179_999, 180_000, 2_567_123])(
    "of %i ms reads the same until it is said to change",
    (milliseconds) => {
      const change = nextChange(milliseconds);
      expect(countdown(milliseconds - change + 1)).toBe(countdown(milliseconds));
      if (milliseconds >= 180_000) expect(countdown(milliseconds - change)).not.toBe(countdown(milliseconds));
    },
  );

  test("that has ended changes no more", () => expect(nextChange(0)).toBe(Number.POSITIVE_INFINITY));
});

describe("a duration", () => {
  test.each([
    ["2m", "2 min"],
    ["1h30m", "1 h 30 min"],
    ["PT2M", "2 min"],
    ["PT1H30M", "1 h 30 min"],
    ["P1DT45S", "1 d 45 s"],
    ["1d45s", "1 d 45 s"],
    ["soon", "soon"],
  ])("written %s is spoken %s", (written, spoken) => expect(spokenDuration(written)).toBe(spoken));

  test("that is none has no length", () => {
    expect(durationSeconds("")).toBeNull();
    expect(durationSeconds("1w")).toBeNull();
    expect(durationSeconds("1h30m")).toBe(5_400);
  });
});

test("a time of day has hours and minutes", () => expect(clockTime("2026-01-01T12:05:00Z")).toMatch(/^\d\d:\d\d$/));
