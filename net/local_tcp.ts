/** Settings of TCP for ways that are memory of this machine: between containers, and between them and netd. */

/**
 * Nothing is far away and nothing is lost there. What models a path and paces (BBR, where a machine has it by default) sets a timer for each packet: half as
 * many bytes a second. Every kernel has this one.
 */
export const LOCAL_CONGESTION_CONTROL = "reno";

/**
 * TCP_NOTSENT_LOWAT of netd's sockets in the machine's network: they take no more than this of what cannot be sent yet. Otherwise each holds as much as the
 * machine allows a long way (`tcp_wmem`, 4 MiB or more), and with some connections all of it has left the processor's caches before it is sent. What is on its way
 * does not count, so that a long way is filled as before. Half as much is a little better while processors are idle, and clearly worse while netd has to wait for one.
 */
export const OUTSIDE_UNSENT = 256 * 1024;
