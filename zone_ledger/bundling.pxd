ctypedef long long i64
ctypedef int i32
