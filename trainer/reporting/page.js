"use strict";
// One sound at a time. Within a scene all sounds share one moment: who starts another player while one plays hears
// the other go on at that very moment, and a click into a picture goes there.

const players = [...document.querySelectorAll("audio")];
const sceneOf = (node) => node.closest(".scene");

function showHeads(scene, player) {
  const share = player.duration ? player.currentTime / player.duration : 0;
  for (const head of scene.querySelectorAll(".head")) {
    head.style.left = `${100 * share}%`;
    head.hidden = player.currentTime === 0 && player.paused;
  }
}

function follow(player) {
  showHeads(sceneOf(player), player);
  if (!player.paused) requestAnimationFrame(() => follow(player));
}

function onPlay(event) {
  const player = event.target;
  const before = players.find((other) => other !== player && !other.paused);
  for (const other of players) if (other !== player) other.pause();
  if (before && sceneOf(before) === sceneOf(player)) player.currentTime = before.currentTime;
  for (const track of sceneOf(player).querySelectorAll(".track")) {
    track.classList.toggle("playing", track.contains(player));
  }
  follow(player);
}

function onPause(event) {
  event.target.closest(".track").classList.remove("playing");
}

function onPicture(event) {
  const plot = event.currentTarget;
  const scene = sceneOf(plot);
  const own = plot.closest(".track")?.querySelector("audio");
  const player = own ?? [...scene.querySelectorAll("audio")].find((one) => !one.paused) ?? scene.querySelector("audio");
  const box = plot.getBoundingClientRect();
  const go = () => {
    for (const other of players) if (other !== player) other.pause();
    player.currentTime = ((event.clientX - box.left) / box.width) * player.duration;
    player.play();
  };
  if (player.readyState > 0) go();
  else {
    player.addEventListener("loadedmetadata", go, { once: true });
    player.load();
  }
}

for (const player of players) {
  player.addEventListener("play", onPlay);
  player.addEventListener("pause", onPause);
  player.addEventListener("seeked", () => showHeads(sceneOf(player), player));
}
for (const plot of document.querySelectorAll(".plot")) plot.addEventListener("click", onPicture);
