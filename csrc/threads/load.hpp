// How many threads of the whole system run or are ready to. Used by pool.cpp, for Crowding.
#pragma once

namespace cellgate {

// Whether there are cores for `more` threads besides all that run or wait for one at this moment; false where
// that cannot be told, as to a process that may use a part of the machine's cores only.
bool cores_for(int more) noexcept;

}  // namespace cellgate
