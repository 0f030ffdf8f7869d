// How the process ends where C code cannot go on.
#pragma once

// pg_end writes a message, a line, to standard error and ends the process.
void pg_end(const char * message);
