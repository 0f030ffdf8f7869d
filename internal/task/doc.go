// Package task is the structured half of PaliGemma: it turns a task into a
// prompt, and what the model writes back into boxes and the codes of masks.
//
// Coordinates. A box is [x0, y0, x1, y1]: x to the right, y down, origin at the
// top left corner of the upright image, in pixels unless said otherwise. The
// model writes y before x and bins each side to 0..1023 (big_vision:
// round(1023·coordinate/size)).
package task
